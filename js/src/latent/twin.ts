// Rings around the same item on the other figures, while the pointer is on its point.

/** Rings over an explorer's frame, at positions on the page. */
export function twinRings(root: HTMLElement) {
  const rings: HTMLElement[] = [];
  const clear = () => {
    for (const ring of rings.splice(0)) ring.remove();
  };
  return {
    show(positions: { x: number; y: number }[]) {
      clear();
      const { left, top } = root.getBoundingClientRect();
      for (const { x, y } of positions) {
        const ring = document.createElement("div");
        ring.className = "hdm-twin";
        ring.style.left = `${x - left}px`;
        ring.style.top = `${y - top}px`;
        root.append(ring);
        rings.push(ring);
      }
    },
    dispose: clear,
  };
}
