// PNG bytes as something an <img> shows.
import { useEffect, useState } from "preact/hooks";
import { bytes } from "./codec";

/** An address for PNG bytes, to be revoked when it is no longer shown. */
export const pngAddress = (png: DataView): string =>
  URL.createObjectURL(new Blob([bytes(png)], { type: "image/png" }));

/** An address for an image's bytes, revoked when they change or the view ends. */
export function usePng(png: DataView | undefined): string | null {
  const [url, setUrl] = useState<string | null>(null);
  useEffect(() => {
    if (!png?.byteLength) {
      setUrl(null);
      return;
    }
    const address = pngAddress(png);
    setUrl(address);
    return () => URL.revokeObjectURL(address);
  }, [png]);
  return url;
}
