import { defineConfig } from "vite";

// The page is embedded in the gateway: few files, whose names stay the same, and nothing from elsewhere.
export default defineConfig({
  build: {
    target: "es2022",
    modulePreload: { polyfill: false },
    rollupOptions: {
      output: { entryFileNames: "dashboard.js", assetFileNames: "dashboard[extname]" },
    },
  },
  // `npm run dev` beside a gateway whose admin listener is there.
  server: { proxy: { "/api": "http://127.0.0.1:9900" } },
});
