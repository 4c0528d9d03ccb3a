"""What a fit collects, kept in a folder or at any address of fsspec, shard by shard."""
