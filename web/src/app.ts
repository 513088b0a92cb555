// The application itself; main.ts has asked for the words already.
import { createApp } from 'vue'
import { begin, cookie } from './api/session'
import App from './App.vue'
import { i18n, ready } from './i18n'
import { router } from './router'

// Who has a session will see what stands around pages: it comes while the session is looked at.
if (cookie('yunionauth') && !location.pathname.startsWith('/login')) {
  void begin()
  void import('./inside')
}
void ready.then(() => createApp(App).use(i18n).use(router).mount('#app'))
