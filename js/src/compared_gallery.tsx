// The entry of the gallery of two models.
import { ComparedCard } from "./latent/compared_card";
import { Gallery } from "./latent/gallery";
import { imageStore } from "./latent/image_store";
import { GALLERY, type GalleryTraits } from "./latent/python_state";
import { part } from "./shared/part";

export default part<GalleryTraits>(GALLERY, (python) => {
  const store = imageStore(python);
  return { child: <Gallery python={python} store={store} compared={ComparedCard} />, end: store.dispose };
});
