// A page in a frame of another one shows the explorer alone, and says how high it is: its frame cannot know.

/** Tell the page around this one of the height of what is in it. */
export function tellHeight(): void {
  if (window.parent === window) return;
  document.body.dataset.framed = "";
  const tell = () => window.parent.postMessage({ hdmPageHeight: document.body.offsetHeight }, "*");
  new ResizeObserver(tell).observe(document.body);
}
