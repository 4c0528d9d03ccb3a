// Canvases do not follow a change of the notebook's theme by themselves.
import { useEffect, useState } from "preact/hooks";

const ATTRIBUTE = "data-jp-theme-light";
const present = () => document.body.getAttribute(ATTRIBUTE);

/** Changes with the theme of the notebook. */
export function useTheme(): string | null {
  const [theme, setTheme] = useState(present);
  useEffect(() => {
    const watch = new MutationObserver(() => setTheme(present()));
    watch.observe(document.body, { attributeFilter: [ATTRIBUTE] });
    return () => watch.disconnect();
  }, []);
  return theme;
}
