import { fileURLToPath } from 'node:url'
import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vitest/config'
import { ahead } from './dev/ahead.mjs'
import { packed } from './dev/packed.mjs'
import { shipped } from './dev/shipped.mjs'

const gateway = process.env.WOLKE_URL ?? 'http://127.0.0.1:7780'
const at = (names: string) => new RegExp(`/web/src/(?:${names})`)

/**
 * Every file costs a slow processor a request, whatever its size: what is always needed together is one file. `first` asks for the rest, `base` is
 * enough for the log-in page, `inside` has what stands around every page and the pages that come first, `above` what opens later; other pages are files of their own.
 */
const groups = [
  { name: 'first', priority: 9, test: /\/src\/(?:main|api\/ahead|i18n\/words)\.ts|preload-helper|rolldown.runtime/ },
  { name: 'base', priority: 4, test: at('app\\.ts|App\\.vue|router\\.ts|pages/LoginPage|ui/(?:Btn|Copy|Failure|Toasts)') },
  { name: 'charts', priority: 3, test: at('parts/echarts') },
  { name: 'lines', priority: 3, test: at('parts/lines') },
  { name: 'inside', priority: 2, test: at('inside\\.ts') },
  { name: 'above', priority: 1, test: at('above\\.ts') },
  { name: 'inside', priority: 1, test: /@lucide\/vue/ },
]

export default defineConfig({
  plugins: [vue(), shipped(), ahead('src/app.ts'), packed()],
  resolve: { alias: { '@': fileURLToPath(new URL('./src', import.meta.url)) } },
  // The console asks for nothing that the page's Content-Security-Policy would have to be loosened for: no inlined assets, no eval.
  define: { __INTLIFY_JIT_COMPILATION__: true, __INTLIFY_DROP_MESSAGE_COMPILER__: true, __VUE_I18N_LEGACY_API__: false, __VUE_OPTIONS_API__: true, __VUE_PROD_DEVTOOLS__: false, __INTLIFY_PROD_DEVTOOLS__: false },
  build: { manifest: true, target: 'es2022', assetsInlineLimit: 0, cssCodeSplit: false, sourcemap: false, modulePreload: { polyfill: false }, rolldownOptions: { output: { codeSplitting: { groups } } } },
  server: { proxy: { '/api': { target: gateway, ws: true } } },
  test: { include: ['test/**/*.test.ts'], environment: 'node' },
})
