// PNG bytes as something an <img> shows.
import { useEffect, useState } from "preact/hooks";
import { bytes } from "./codec";

/** An address for a picture's bytes, given back when they change or the view goes. */
export function usePicture(png: DataView | undefined): string | null {
  const [url, setUrl] = useState<string | null>(null);
  useEffect(() => {
    if (!png?.byteLength) {
      setUrl(null);
      return;
    }
    const address = URL.createObjectURL(new Blob([bytes(png)], { type: "image/png" }));
    setUrl(address);
    return () => URL.revokeObjectURL(address);
  }, [png]);
  return url;
}
