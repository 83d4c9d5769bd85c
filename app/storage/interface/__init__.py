"""The contract between Dynometer and its store: one protocol for each role that code has.

Per app, the store holds:

    inbox   a list of elements: packed batches that were appended and not yet folded
    slot    a list of elements per resolution and interval: packed rollups that readers merge
    id      identifies a batch, so that it counts once however often it is sent
    state   which of the app's drains counts (app.access.drain_election); opaque bytes here

Every adapter in app.storage implements all roles (`Store`). Everything else asks for the roles that
it uses. Unless a method says otherwise:

- times are Unix seconds (`_s`), durations milliseconds (`_ms`);
- every method may raise StoreUnavailable. A write may then have taken place or not; repeat it
  with the same ids and tokens;
- a TTL counts from now. A list's TTL is never shortened, and adapters may extend it only once a
  minute, so a list may expire up to a minute early;
- a returned list follows the order of the arguments.
"""
