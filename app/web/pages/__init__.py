"""The pages: routes, rendering, charts as pictures."""
