import { fileURLToPath } from "node:url";
import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vitest/config";

const gateway = process.env.TESSERA_PUBLIC_URL ?? "http://127.0.0.1:8000";

export default defineConfig({
  plugins: [vue()],
  resolve: { alias: { "@": fileURLToPath(new URL("src", import.meta.url)) } },
  define: {
    __VUE_I18N_FULL_INSTALL__: false,
    __VUE_I18N_LEGACY_API__: false,
    __INTLIFY_PROD_DEVTOOLS__: false,
  },
  build: {
    assetsInlineLimit: 0, // the Content-Security-Policy admits no data: URL
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: { checks: { pluginTimings: false } },
    target: "es2023",
  },
  server: { proxy: { "/graphql": { target: gateway, ws: true } } },
  test: { environment: "happy-dom", include: ["src/**/*.test.ts"] },
});
