/// <reference types="vite/client" />
// Styles of both explorers hold on the whole page: what one says of a class must not reach the other.
import { expect, it } from "vitest";

const sheets = import.meta.glob<string>("../src/**/*.css", { query: "?raw", import: "default", eager: true });

/** A stylesheet with all that it imports, but for what both explorers share. */
function styles(path: string): string {
  const text = sheets[path];
  const imported = [...text.matchAll(/@import "\.\/(.+?)";/g)].map(([, other]) => `../src/${other}`);
  return [text, ...imported.filter((one) => !one.endsWith("base.css")).map(styles)].join("\n");
}

/** Classes that have rules wherever they stand: no class before them says in which explorer. */
function everywhere(css: string): Set<string> {
  const plain = css.replace(/\/\*[\s\S]*?\*\//g, "");
  const selectors = [...plain.matchAll(/([^{}]+)\{/g)].flatMap(([, list]) => list.split(/,(?![^(]*\))/));
  return new Set(
    selectors.flatMap((one) => /^\s*\.(hdm-[\w-]+)(?:[.:][^\s>+~]*)?\s*$/.exec(one)?.slice(1, 2) ?? []),
  );
}

const hdm = everywhere(styles("../src/hdm_explorer.css"));
const latent = new Set(
  ["latent_explorer", "latent_comparison"].flatMap((name) => [...everywhere(styles(`../src/${name}.css`))]),
);

it("no class is styled by both explorers", () => {
  expect([...hdm]).toContain("hdm-picture");
  expect([...latent]).toContain("hdm-swatch");
  expect([...hdm].filter((name) => latent.has(name))).toEqual([]);
});

it("what both have of their own is not changed by the shared styles that the other brings again", () => {
  const texts = import.meta.glob<string>("../src/**/*.{ts,tsx}", {
    query: "?raw",
    import: "default",
    eager: true,
  });
  // Whichever of the two comes last would win.
  const roots = Object.values(texts).flatMap((text) =>
    [...text.matchAll(/["`]hdm ([\w -]+)["`]/g)].flatMap(([, names]) => names.split(" ")),
  );
  expect(roots).toContain("hdm-legend");
  const shared = new Set([...roots, ...everywhere(sheets["../src/shared/base.css"])]);
  expect([...hdm, ...latent].filter((name) => shared.has(name))).toEqual([]);
});
