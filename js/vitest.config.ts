import { defineConfig } from "vitest/config";

export default defineConfig({
  // With step 1 what large images need changes nothing.
  define: { LARGE: "true", SMALL: "true" },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  // Stylesheets as they are: a test reads them. A busy machine is given time. Files share one jsdom, which takes a third
  // of the time; they pass in any order: npx vitest run --sequence.shuffle.files
  test: { include: ["tests/**/*.test.{ts,tsx}"], css: true, testTimeout: 60_000, isolate: false },
});
