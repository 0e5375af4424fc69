"""A page for each code of `check`: what it means, an example, what to do. docs/reference/codes/ is generated from it."""

from __future__ import annotations

from typing import Final

from ebbgate.errors import ConfigError
from ebbgate.policy.words import CODES, hint_for

#: code → (why it matters, an example that is wrong, what to do).
TEXTS: Final[dict[str, tuple[str, str, str]]] = {
    "P001": (
        "An unknown setting would do nothing. A misspelt `remove` would let everything out, so the file is refused.",
        "before_anything_leaves:\n  remov: [user.email]",
        "Use the suggested name. `ebbgate check --fix` does it.",
    ),
    "P002": (
        "Purposes, countries, sources, destinations and actions are closed lists. A word outside its list has no meaning.",
        "needs: [advertsing]",
        "Use the suggested word, or declare the purpose under `consent.purposes`.",
    ),
    "P003": (
        "Of two settings with one name only one could count, and readers would differ on which.",
        "ga4:\n  needs: [analytics]\n  needs: [advertising]",
        "Keep one of them.",
    ),
    "P004": (
        "The value is of another kind than the setting takes. In YAML 1.2 `yes` and `no` are words, `true` and `false` are not.",
        "enabled: no",
        "Write the kind of value that the message names.",
    ),
    "P005": (
        "Policy files are plain YAML 1.2 in UTF-8: no tabs, aliases, anchors, tags, merge keys or second documents.",
        "send: *everything",
        "Write out what is meant, with blanks for indentation.",
    ),
    "P006": (
        "The file cannot be understood without this setting, and ebbgate does not guess what a law requires.",
        "consent:\n  read_from: [event]",
        "Add the setting that the message names, here `model` and `if_missing`.",
    ),
    "P007": (
        "The value is of the right kind but cannot be meant: an empty list, a time that is not understood, a number out of range.",
        "hold_for: a while",
        "Times are a number and a word: `10 minutes`, `30 days`, `24 months`.",
    ),
    "P008": (
        "Files over 256 KiB, 50,000 values or 20 levels are refused before they are read, so that no file can exhaust the gateway.",
        "",
        "Split the policy by place. A policy that a person can read is never that long.",
    ),
    "P009": (
        "There is no policy here: the folder or the file is empty or cannot be read. Without a policy nothing leaves.",
        "",
        "Check the path and its permissions, or make policies with `ebbgate init`.",
    ),
    "P010": (
        "A destination that says nothing about consent must not mean that none is needed.",
        "ga4:\n  send: [event]",
        "Add `needs: [analytics]`, or `needs: nothing` together with `because`.",
    ),
    "P011": (
        "Sending without consent needs a ground in law. The ground belongs into the file, where an auditor finds it.",
        "webhook:\n  needs: nothing\n  send: [event]",
        "Add `because:` with the article and the assessment.",
    ),
    "P012": (
        "Only fields that `send` names leave. A destination without it would get nothing.",
        "ga4:\n  needs: [analytics]",
        "Add `send: [event, page, order]`, or whatever it is meant to get.",
    ),
    "P013": (
        "None of the sources in `read_from` can ever say yes to this purpose, so nothing that needs it would leave.",
        "read_from: [tcf]\npurposes:\n  analytics: {categories: [statistics]}",
        "Add the source that speaks in these words, or say how a listed source names the purpose.",
    ),
    "P014": (
        "`allowed` takes silence for consent, which opt-in forbids. `hold` waits for a choice that opt-out does not ask for.",
        "model: opt_in\nif_missing: allowed",
        "Write `refused` (or, with opt_in, `hold`).",
    ),
    "P015": (
        "The purpose is declared but no destination needs it. Often a destination was meant to.",
        "purposes:\n  heatmap: {categories: [heatmap]}",
        "Remove the purpose, or add it to the `needs` of a destination.",
    ),
    "P016": (
        "`hold_for` says how long an event waits for its visitor's choice, and this policy lets none wait.",
        "if_missing: refused\nhold_for: 10 minutes",
        "Write `if_missing: hold` (with opt_in), or leave the time for the day when you do.",
    ),
    "P017": (
        "`vendor` counts where an IAB string is the evidence, and this policy reads none: the vendor is never asked about.",
        "read_from: [event]\n…\nvendor: {tcf: 755}",
        "Add `tcf`, `gpp` or `cmp_cookie` to `read_from`, or remove `vendor`.",
    ),
    "P018": (
        "Platforms honour limited data use for US states only. Elsewhere they take the event like one with consent: it is withheld.",
        "consent: {model: opt_in, …}\n…\nif_refused:\n  send_limited: {send: [event], add: {limited_data_use: true}}",
        "Remove `if_refused`, or drop the flag where the law allows the reduced sending by itself.",
    ),
    "P020": (
        "The word is no field, no group and no property. A field that matches nothing would silently protect or send nothing.",
        "remove: [user.e-mail]",
        "Use the suggested field. The list is in docs/reference/fields.md.",
    ),
    "P021": (
        "The rule cannot take effect: a word that stands twice, a reduced sending or a vendor where nothing is needed.",
        "needs: nothing\nbecause: Security of the service\nvendor: {tcf: 755}",
        "Remove the rule, or change the one that makes it idle.",
    ),
    "P022": (
        "A plain SHA-256 of an e-mail address or a name is found by trying. It is only sent to platforms that ask for it.",
        "webhook:\n  send: [event, user.email]\n  hash: [user.email]",
        "Use `pseudonymise`, which is keyed, or do not send the field.",
    ),
    "P023": (
        "The same field is named to be sent and to be removed. The name and the time of an event leave with every sending.",
        "remove: [user.email]\n…\nsend: [event, user.email]",
        "Decide on one. A group in `send` may well have exceptions in `remove`.",
    ),
    "P024": (
        "A treatment of a field that is not sent. Either the field is missing in `send`, or the treatment is left over.",
        "send: [event]\nhash: [user.email]",
        "Add the field to `send`, or remove the treatment.",
    ),
    "P025": (
        "Two treatments that exclude each other, or one that cannot be done to this field.",
        "hash: [user.email]\npseudonymise: [user.email]",
        "Decide on one.",
    ),
    "P026": (
        "The destination takes this identifier hashed, or is an advertiser that must not get contact data in clear.",
        "meta:\n  send: [event, user.email]",
        "Add `hash: [user.email]`, or do not send it.",
    ),
    "P027": (
        "The reduced sending names a field that the full one does not. A refusal would let more out than a consent.",
        "send: [event]\nif_refused:\n  send_limited: {send: [event, user.id]}",
        "Name the field in `send` too, or remove it from the reduced form.",
    ),
    "P030": (
        "Two policies claim one place. Exactly one policy must govern an event, or nobody can say which law was applied.",
        "# a.yaml\ncountries: [EEA]\n# b.yaml\ncountries: [DE]",
        "Let one of them go. A region may differ from its country: it beats it.",
    ),
    "P031": (
        "Visits whose country is not known are governed by no policy, so nothing leaves for them.",
        "",
        "Write `when_country_unknown: apply` in the strictest policy.",
    ),
    "P032": (
        "The policy names no place, so it never governs anything.",
        "applies_to: {}",
        "Name countries, regions, `everywhere_else: true` or `when_country_unknown: apply`.",
    ),
    "P033": (
        "Some countries are governed by no policy, so nothing leaves for their visitors.",
        "",
        "Write `everywhere_else: true` in one policy.",
    ),
    "P034": (
        "Policies are the `*.yaml` files of the directory itself. This one is not read: it ends otherwise, or stands further down.",
        "",
        "Rename it to `….yaml` and move it beside the others, or move it away.",
    ),
    "P040": (
        "The policy names a destination that the settings do not configure, or that is not installed, so nothing is sent to it.",
        "",
        "Configure it in ebbgate.toml, or remove it from the policy. `ebbgate destination list` names those that are installed.",
    ),
    "P041": (
        "The platform keeps this event name for itself and would drop the event without a word.",
        "ga4:\n  events: [session_start]",
        "Remove the name from `events`.",
    ),
    "P042": (
        "The settings configure a destination that no policy names, so nothing leaves to it.",
        "",
        "Name it in the policies that shall send to it.",
    ),
    "P050": (
        "Consent must be provable while it is relied on: 13 months for consent strings, 24 months for California.",
        "keep_evidence_for: 30 days",
        "Write `24 months`.",
    ),
    "P051": (
        "An auditor asks first who answers for a policy and on what ground.",
        "policy: Visitors in the EU",
        "Add `owner:` and `reason:`.",
    ),
    "T001": (
        "The test expects something of a destination that no policy names.",
        "expect: {ga5: sent}",
        "Use the suggested name.",
    ),
    "T002": (
        "The test names a purpose, field, country, fixture or reason that does not exist.",
        "given: {use: ordr}",
        "Use the suggested word.",
    ),
    "T003": (
        "The test cannot be run: it expects nothing, or expects fields of something that is not sent.",
        "- it: does something",
        "Add `expect:`.",
    ),
}


def page(code: str) -> str:
    """The page of a code as Markdown. Raises ConfigError when there is no such code."""
    if code not in TEXTS:
        raise ConfigError(f"there is no code {code}", hint=hint_for(code, TEXTS) or "codes go from P001 to T003")
    title, severity = CODES[code]
    why, example, fix = TEXTS[code]
    parts = [f"# {code}: {title}", "A warning: the policy still loads." if severity == "warning" else "", why]
    if example:
        parts.append(f"```yaml\n{example}\n```")
    parts.append(f"**What to do.** {fix}")
    return "\n\n".join(part for part in parts if part) + "\n"
