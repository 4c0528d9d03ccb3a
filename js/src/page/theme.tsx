// Light or dark: as the system has it, as whoever shows the page asks for (#dark), or as its reader chooses.
import { useEffect, useState } from "preact/hooks";
import { Choice } from "../shared/choice";

type Theme = "auto" | "light" | "dark";

const asked = (): Theme => {
  const [, theme] = /^#(light|dark)$/.exec(location.hash) ?? [];
  return (theme as Theme | undefined) ?? "auto";
};

export function ThemeChoice() {
  const [theme, setTheme] = useState<Theme>(asked);
  useEffect(() => {
    const follow = () => setTheme(asked());
    window.addEventListener("hashchange", follow);
    return () => window.removeEventListener("hashchange", follow);
  }, []);
  useEffect(() => {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    // The attribute that notebooks have, which all styles and drawings follow.
    const apply = () => {
      const isDark = theme === "dark" || (theme === "auto" && dark.matches);
      document.body.dataset.jpThemeLight = String(!isDark);
    };
    apply();
    dark.addEventListener("change", apply);
    return () => dark.removeEventListener("change", apply);
  }, [theme]);
  return (
    <div class="hdm">
      <Choice<Theme>
        label="Theme"
        options={[
          ["auto", "Auto"],
          ["light", "Light"],
          ["dark", "Dark"],
        ]}
        value={theme}
        onChange={(theme) => setTheme(theme)}
      />
    </div>
  );
}
