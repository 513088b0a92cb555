import { fileURLToPath } from 'node:url'
import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vitest/config'
import { shipped } from './dev/shipped.mjs'

const gateway = process.env.WOLKE_URL ?? 'http://127.0.0.1:7780'

export default defineConfig({
  plugins: [vue(), shipped()],
  resolve: { alias: { '@': fileURLToPath(new URL('./src', import.meta.url)) } },
  // The console asks for nothing that the page's Content-Security-Policy would have to be loosened for: no inlined assets, no eval.
  define: { __INTLIFY_JIT_COMPILATION__: true, __INTLIFY_DROP_MESSAGE_COMPILER__: false, __VUE_I18N_LEGACY_API__: false, __VUE_OPTIONS_API__: true, __VUE_PROD_DEVTOOLS__: false, __INTLIFY_PROD_DEVTOOLS__: false },
  build: { manifest: true, target: 'es2022', assetsInlineLimit: 0, sourcemap: false, modulePreload: { polyfill: false } },
  server: { proxy: { '/api': { target: gateway, ws: true } } },
  test: { include: ['test/**/*.test.ts'], environment: 'node' },
})
