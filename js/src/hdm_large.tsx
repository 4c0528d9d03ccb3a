// The HDM explorer for large images: the same, with the parts that `LARGE` adds to it.
export { default } from "./hdm_explorer";
