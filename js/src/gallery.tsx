// The entry of the gallery.
import type { RenderProps } from "@anywidget/types";
import { GALLERY, Gallery, type GalleryTraits } from "./latent/gallery";
import { pictureStore } from "./latent/picture_store";
import { show } from "./shared/show";
import { connect } from "./shared/traits";

function render({ model, el }: RenderProps<GalleryTraits>): () => void {
  const python = connect(model, GALLERY);
  const store = pictureStore(python);
  const hide = show(<Gallery python={python} store={store} />, el);
  return () => {
    hide();
    store.dispose();
    python.dispose();
  };
}

export default { render };
