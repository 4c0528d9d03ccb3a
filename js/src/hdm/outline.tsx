/** An outline with a dark line around it, which shows on any image. */
export function Outline({ path, kind }: { path: string; kind: string }) {
  return (
    <>
      <path class="hdm-halo" d={path} />
      <path class={`hdm-${kind}`} d={path} />
    </>
  );
}
