// What is behind the log-in page and always needed together: one file.
export { default as Shell } from './parts/Shell.vue'
export { default as DetailPage } from './pages/DetailPage.vue'
export { default as ListPage } from './pages/ListPage.vue'
export { default as OverviewPage } from './pages/OverviewPage.vue'
