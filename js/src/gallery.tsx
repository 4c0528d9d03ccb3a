// The entry of the gallery.
import { Gallery } from "./latent/gallery";
import { imageStore } from "./latent/image_store";
import { GALLERY, type GalleryTraits } from "./latent/python_state";
import { part } from "./shared/part";

export default part<GalleryTraits>(GALLERY, (python) => {
  const store = imageStore(python);
  return { child: <Gallery python={python} store={store} />, end: store.dispose };
});
