"use strict";

// The page's own folder is the endpoint's root, whatever prefix a proxy has taken away before the endpoint saw the path.
const root = new URL(".", window.location.href).href;

// The document names no server, and a tried request would then leave the prefix out.
const servedHere = {
  statePlugins: {
    spec: {
      wrapActions: {
        updateJsonSpec: (update) => (description) => update({ servers: [{ url: root }], ...description }),
      },
    },
  },
};

SwaggerUIBundle({
  dom_id: "#docs",
  url: new URL("openapi.json", root).href,
  plugins: [servedHere],
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
});
