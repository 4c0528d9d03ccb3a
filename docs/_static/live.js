// Frames with live pages: as high as what they show, and in the theme of this page.
const frames = () => [...document.querySelectorAll("iframe.live")];

window.addEventListener("message", ({ data, source }) => {
  const frame = frames().find((one) => one.contentWindow === source);
  if (frame && data?.hdmPageHeight > 0) frame.style.height = `${data.hdmPageHeight}px`;
});

function follow() {
  const { theme } = document.documentElement.dataset;
  for (const frame of frames()) {
    // Only the part behind # changes, so nothing is loaded again.
    frame.src = `${frame.src.split("#")[0]}#${theme === "dark" ? "dark" : "light"}`;
  }
}

document.addEventListener("DOMContentLoaded", follow);
new MutationObserver(follow).observe(document.documentElement, { attributeFilter: ["data-theme"] });
