/// <reference types="vite/client" />
import { expect, it } from "vitest";

const texts = import.meta.glob<string>("../src/**/*.{ts,tsx}", {
  query: "?raw",
  import: "default",
  eager: true,
});
const stem = (path: string) => path.replace(/^\.\.\/src\//, "").replace(/\.tsx?$/, "");
/** What every file imports of ours, types too. */
const imports = new Map(
  Object.entries(texts).map(([path, text]) => {
    const here = new URL(stem(path), "file:///");
    const found = [...text.matchAll(/from "(\.[^"]+)"/g)];
    return [stem(path), found.map(([, name]) => new URL(name, here).pathname.slice(1))];
  }),
);

it("no file imports itself by way of others", () => {
  expect(imports.get("hdm_explorer")).toContain("hdm/explorer");
  expect(imports.get("latent/gallery")).toContain("shared/format");
  const circles: string[] = [];
  const done = new Set<string>();
  const follow = (name: string, path: string[]) => {
    if (path.includes(name)) circles.push([...path.slice(path.indexOf(name)), name].join(" > "));
    else if (!done.has(name)) for (const next of imports.get(name) ?? []) follow(next, [...path, name]);
    done.add(name);
  };
  for (const name of imports.keys()) follow(name, []);
  expect(circles).toEqual([]);
});

it("what both explorers share imports neither of them", () => {
  const shared = [...imports].filter(([name]) => name.startsWith("shared/"));
  expect(shared.length).toBeGreaterThan(10);
  expect(shared.flatMap(([, names]) => names).filter((name) => !name.startsWith("shared/"))).toEqual([]);
});
