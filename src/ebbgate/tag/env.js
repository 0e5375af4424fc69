// Where the tag runs: the page, the script element with its data-… attributes, and the gateway's address beside the script.
export const w = window;
export const d = document;
const script = d.currentScript;

// The path under which the gateway is reached: t.js stands directly below it.
export const base = script.src.replace(/t\.js.*/, "");

// data-… attributes of the script element. A switch is on when it is there and not "0".
export const options = script.dataset;
export const flag = (name) => (options[name] ?? "0") != "0";

export const on = (target, name, listener) => target.addEventListener(name, listener, true);

let loud;
export const note = (what, about) => loud && console.log("ebb", what, about);

// ebb.debug(): says what is and, from now on, what happens, in the console of this page alone.
export function debug(state) {
  loud = true;
  note("state", state);
  return state;
}
