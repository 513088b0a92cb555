import './style/tokens.css'
import './style/base.css'
import './style/controls.css'
import './style/layout.css'
import { createApp } from 'vue'
import App from './App.vue'
import { i18n, ready } from './i18n'
import { router } from './router'

await ready
createApp(App).use(i18n).use(router).mount('#app')
