// The entry of the gallery.
import { GALLERY, Gallery, type GalleryTraits } from "./latent/gallery";
import { pictureStore } from "./latent/picture_store";
import { part } from "./shared/part";

export default part<GalleryTraits>(GALLERY, (python) => {
  const store = pictureStore(python);
  return { child: <Gallery python={python} store={store} />, end: store.dispose };
});
