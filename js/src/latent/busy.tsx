/** A bar that runs while something is done whose end is not known. */
export const Busy = () => (
  <div class="hdm-busy" aria-hidden>
    <i />
  </div>
);
