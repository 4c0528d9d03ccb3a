import { defineConfig } from "vitest/config";

export default defineConfig({
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  // Stylesheets as they are: a test reads them.
  test: { include: ["tests/**/*.test.{ts,tsx}"], css: true },
});
