"""Country names and codes → ISO 3166-1 alpha-2, as far as senders write them in addresses.

English short names, the names countries use for themselves in Latin letters where they are common in shop addresses, and
three-letter codes of the countries shops deliver to most. Matching ignores case, accents stay.
"""

from __future__ import annotations

from typing import Final

_NAMES: Final = """
AD andorra|AE united arab emirates|AF afghanistan|AG antigua and barbuda|AI anguilla|AL albania|AM armenia|AO angola
AQ antarctica|AR argentina|AS american samoa|AT austria,österreich,oesterreich|AU australia|AW aruba
AX åland islands,aland islands,åland|AZ azerbaijan|BA bosnia and herzegovina,bosna i hercegovina|BB barbados|BD bangladesh
BE belgium,belgië,belgie,belgique,belgien|BF burkina faso|BG bulgaria|BH bahrain|BI burundi|BJ benin
BL saint barthélemy,saint barthelemy|BM bermuda|BN brunei,brunei darussalam|BO bolivia|BQ caribbean netherlands,bonaire
BR brazil,brasil|BS bahamas,the bahamas|BT bhutan|BV bouvet island|BW botswana|BY belarus|BZ belize|CA canada
CC cocos islands,cocos (keeling) islands|CD democratic republic of the congo,dr congo|CF central african republic
CG congo,republic of the congo|CH switzerland,schweiz,suisse,svizzera|CI côte d'ivoire,cote d'ivoire,ivory coast
CK cook islands|CL chile|CM cameroon,cameroun|CN china|CO colombia|CR costa rica|CU cuba|CV cape verde,cabo verde
CW curaçao,curacao|CX christmas island|CY cyprus|CZ czechia,czech republic,česko,česká republika
DE germany,deutschland,allemagne,alemania,germania|DJ djibouti|DK denmark,danmark|DM dominica
DO dominican republic,república dominicana|DZ algeria,algérie|EC ecuador|EE estonia,eesti|EG egypt|EH western sahara
ER eritrea|ES spain,españa,espana|ET ethiopia|FI finland,suomi|FJ fiji|FK falkland islands|FM micronesia|FO faroe islands
FR france|GA gabon
GB united kingdom,great britain,england,scotland,wales,northern ireland,united kingdom of great britain and northern ireland
GD grenada|GE georgia|GF french guiana|GG guernsey|GH ghana|GI gibraltar|GL greenland|GM gambia,the gambia|GN guinea
GP guadeloupe|GQ equatorial guinea|GR greece,ellada|GS south georgia and the south sandwich islands|GT guatemala|GU guam
GW guinea-bissau|GY guyana|HK hong kong|HM heard island and mcdonald islands|HN honduras|HR croatia,hrvatska|HT haiti
HU hungary,magyarország,magyarorszag|ID indonesia|IE ireland,éire,eire|IL israel|IM isle of man|IN india
IO british indian ocean territory|IQ iraq|IR iran|IS iceland,ísland|IT italy,italia,italien|JE jersey|JM jamaica|JO jordan
JP japan,nippon|KE kenya|KG kyrgyzstan|KH cambodia|KI kiribati|KM comoros|KN saint kitts and nevis|KP north korea
KR south korea,korea,republic of korea|KW kuwait|KY cayman islands|KZ kazakhstan|LA laos|LB lebanon|LC saint lucia
LI liechtenstein|LK sri lanka|LR liberia|LS lesotho|LT lithuania,lietuva|LU luxembourg,luxemburg|LV latvia,latvija|LY libya
MA morocco,maroc|MC monaco|MD moldova|ME montenegro,crna gora|MF saint martin|MG madagascar|MH marshall islands
MK north macedonia,macedonia|ML mali|MM myanmar,burma|MN mongolia|MO macau,macao|MP northern mariana islands|MQ martinique
MR mauritania|MS montserrat|MT malta|MU mauritius|MV maldives|MW malawi|MX mexico,méxico|MY malaysia|MZ mozambique|NA namibia
NC new caledonia|NE niger|NF norfolk island|NG nigeria|NI nicaragua
NL netherlands,the netherlands,nederland,holland,niederlande,pays-bas|NO norway,norge|NP nepal|NR nauru|NU niue
NZ new zealand,aotearoa|OM oman|PA panama,panamá|PE peru,perú|PF french polynesia|PG papua new guinea|PH philippines,pilipinas
PK pakistan|PL poland,polska|PM saint pierre and miquelon|PN pitcairn|PR puerto rico|PS palestine|PT portugal|PW palau
PY paraguay|QA qatar|RE réunion,reunion|RO romania,românia|RS serbia,srbija|RU russia,russian federation,rossija|RW rwanda
SA saudi arabia|SB solomon islands|SC seychelles|SD sudan|SE sweden,sverige|SG singapore|SH saint helena|SI slovenia,slovenija
SJ svalbard and jan mayen|SK slovakia,slovensko|SL sierra leone|SM san marino|SN senegal,sénégal|SO somalia|SR suriname
SS south sudan|ST são tomé and príncipe,sao tome and principe|SV el salvador|SX sint maarten|SY syria|SZ eswatini,swaziland
TC turks and caicos islands|TD chad|TF french southern territories|TG togo|TH thailand|TJ tajikistan|TK tokelau
TL timor-leste,east timor|TM turkmenistan|TN tunisia,tunisie|TO tonga|TR turkey,türkiye,turkiye|TT trinidad and tobago
TV tuvalu|TW taiwan|TZ tanzania|UA ukraine,ukraina|UG uganda|UM united states minor outlying islands
US united states,united states of america|UY uruguay|UZ uzbekistan|VA vatican city,holy see
VC saint vincent and the grenadines|VE venezuela|VG british virgin islands|VI us virgin islands,u.s. virgin islands
VN vietnam,viet nam|VU vanuatu|WF wallis and futuna|WS samoa|XK kosovo|YE yemen|YT mayotte|ZA south africa,suid-afrika
ZM zambia|ZW zimbabwe
"""

_LETTERS: Final = (
    "usa:US u.s.:US u.s.a.:US uk:GB u.k.:GB gbr:GB deu:DE ger:DE fra:FR esp:ES ita:IT nld:NL bel:BE aut:AT che:CH pol:PL cze:CZ "
    "swe:SE dnk:DK nor:NO fin:FI irl:IE prt:PT grc:GR hun:HU rou:RO bgr:BG hrv:HR svk:SK svn:SI est:EE lva:LV ltu:LT lux:LU "
    "can:CA mex:MX bra:BR arg:AR chl:CL col:CO aus:AU nzl:NZ jpn:JP kor:KR chn:CN ind:IN sgp:SG hkg:HK twn:TW tha:TH vnm:VN "
    "idn:ID mys:MY phl:PH tur:TR isr:IL are:AE uae:AE sau:SA zaf:ZA egy:EG ukr:UA"
)

BY_NAME: Final = {
    name: code
    for line in _NAMES.strip().splitlines()
    for code, _, names in (entry.partition(" ") for entry in line.split("|"))
    for name in names.split(",")
}
CODES: Final = frozenset(BY_NAME.values())
BY_LETTERS: Final = dict(pair.split(":") for pair in _LETTERS.split())


def iso2(value: str, *, letters: bool = True) -> str | None:
    """ISO 3166-1 alpha-2 code in capitals for a code or a name; None when it is neither.

    `letters=False` refuses abbreviations other than the two-letter code itself (`USA`, `UK`), as Google's own helper does.
    """
    code = value.strip().upper()
    if code in CODES:
        return code
    text = " ".join(value.split())
    name = text.lower()
    return BY_NAME.get(name) or (BY_LETTERS.get(name) if letters else None)
