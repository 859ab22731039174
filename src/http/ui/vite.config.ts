import { defineConfig, type Plugin } from "vite";

/** The page is drawn by its script alone: holding the first paint for it avoids a flash in the wrong theme. */
function holdFirstPaint(): Plugin {
  return {
    name: "hold-first-paint",
    apply: "build",
    transformIndexHtml: {
      order: "post",
      handler: (html) => html.replace('<script type="module"', '<script type="module" blocking="render"'),
    },
  };
}

export default defineConfig({
  base: "/",
  plugins: [holdFirstPaint()],
  build: {
    outDir: "dist",
    emptyOutDir: true,
    target: ["es2021", "chrome100", "edge100", "firefox100", "safari15.4"],
    // Nothing may become a data: URL or an inline script: the server's content security policy forbids both.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
    rolldownOptions: { input: { index: "index.html", admin: "admin.html" } },
    reportCompressedSize: true,
  },
  server: {
    proxy: { "/api": { target: "http://127.0.0.1:8787", changeOrigin: true } },
  },
});
