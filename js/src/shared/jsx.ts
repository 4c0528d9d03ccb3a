// What the bundler calls for elements and fragments: `build.mjs` puts it into every script.
export { Fragment, h } from "preact";
