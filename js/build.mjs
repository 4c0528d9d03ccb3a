// Bundle every widget's script and style into the Python package. `--watch` rebuilds on change.
import { readdirSync, rmSync, statSync } from "node:fs";
import { context } from "esbuild";

const outdir = "../hdm_widgets/static";
const entries = readdirSync("src").filter((name) => /\.(tsx|css)$/.test(name));
const largest = {
  "hdm_explorer.js": 90_000,
  "hdm_large.js": 100_000,
  "hdm_page.js": 100_000,
  "hdm_comparison.js": 80_000,
  "gallery.js": 80_000,
  "toolbar.js": 50_000,
  "legend.js": 50_000,
  "cluster_table.js": 50_000,
  "new_data.js": 50_000,
  "selection_scans.js": 50_000,
  "latent_comparison.js": 50_000,
  "compared_gallery.js": 80_000,
};

rmSync(outdir, { recursive: true, force: true });
// What only large images need is left out of all other scripts.
const bundles = (names, large) =>
  context({
    entryPoints: names.map((name) => `src/${name}`),
    outdir,
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    charset: "utf8",
    // Children as arguments and short names for constants: a few per cent smaller than what `tsconfig.json` asks for.
    tsconfigRaw: {},
    jsx: "transform",
    jsxFactory: "h",
    jsxFragment: "Fragment",
    inject: ["src/shared/jsx.ts"],
    define: {
      LARGE: String(large),
      SMALL: String(!large),
      "Number.NaN": "NaN",
      "Number.POSITIVE_INFINITY": "Infinity",
    },
    legalComments: "none",
    logLevel: "info",
  });
const ofLarge = (name) => name.startsWith("hdm_large");
const builds = await Promise.all([
  bundles(
    entries.filter((name) => !ofLarge(name)),
    false,
  ),
  bundles(entries.filter(ofLarge), true),
]);
if (process.argv.includes("--watch")) {
  await Promise.all(builds.map((build) => build.watch()));
} else {
  for (const build of builds) {
    await build.rebuild();
    await build.dispose();
  }
  for (const [name, limit] of Object.entries(largest)) {
    const { size } = statSync(`${outdir}/${name}`);
    if (size > limit) throw new Error(`${name} has ${size} bytes, more than its limit of ${limit}`);
  }
}
