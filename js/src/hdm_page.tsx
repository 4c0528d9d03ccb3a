// A page without Python: one scan, drawn by the explorer's own parts.
import { Explorer } from "./hdm/explorer";
import { pythonState } from "./hdm/python_state";
import { viewState } from "./hdm/view_state";
import { readPage } from "./page/data";
import { tellHeight } from "./page/frame";
import { PageModel } from "./page/model";
import { ThemeChoice } from "./page/theme";
import { show } from "./shared/show";

/** The part of the page that a script draws into. */
const part = (id: string) => document.getElementById(id) as HTMLElement;

tellHeight();
show(<ThemeChoice />, part("theme"));
readPage(document).then(
  (data) => {
    const el = part("explorer");
    el.replaceChildren();
    show(<Explorer view={viewState(pythonState(new PageModel(data), el, [], true))} />, el);
  },
  (error: unknown) => {
    part("explorer").textContent = `The data of this page cannot be read: ${error}`;
  },
);
