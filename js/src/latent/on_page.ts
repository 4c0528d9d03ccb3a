/** Call `start` with the explorer that holds `el`, once it is on the page; gives what undoes it. */
export function onceOnPage(el: HTMLElement, start: (root: HTMLElement) => () => void): () => void {
  let end = () => {};
  const arrived = new ResizeObserver(() => {
    const root = el.closest<HTMLElement>(".hdm-latent");
    if (!root) return;
    arrived.disconnect();
    end = start(root);
  });
  arrived.observe(el);
  return () => {
    arrived.disconnect();
    end();
  };
}
