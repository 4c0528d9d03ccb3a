// The entry of a widget: one connection to Python and one tree for every view.
import type { AnyModel, RenderProps } from "@anywidget/types";
import type { ComponentChild } from "preact";
import { show } from "./show";
import { connect, type Python } from "./traits";

interface Drawn {
  child: ComponentChild;
  /** What ends with the view. */
  end?(): void;
}

/** What anywidget asks of a widget that is drawn from these traits. */
export function part<T extends object>(
  names: readonly (keyof T & string)[],
  draw: (python: Python<T>, el: HTMLElement, model: AnyModel<T>) => Drawn,
) {
  return {
    render({ model, el }: RenderProps<T>): () => void {
      const typed = model as AnyModel<T>;
      const python = connect(typed, names, el);
      const { child, end } = draw(python, el, typed);
      const hide = show(child, el);
      return () => {
        hide();
        end?.();
        python.dispose();
      };
    },
  };
}
