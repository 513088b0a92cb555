// Every place has an address that can be sent to somebody else.
import { createRouter, createWebHistory } from 'vue-router'
import { arrive, secondFactor, session } from './api/session'
import { askAhead } from './pages/overview'
import { prefs } from './prefs'
import LoginPage from './pages/LoginPage.vue'
import { resources } from './resources'

const list = () => import('./inside').then((m) => m.ListPage)
const detail = () => import('./inside').then((m) => m.DetailPage)
const all = Object.values(resources)
/** One pattern for all lists and one for all rows: a page of its own, such as `/servers/new`, comes before them. */
const pattern = (of: typeof all) => of.map((d) => d.plural).join('|')

export const router = createRouter({
  history: createWebHistory(),
  routes: [
    { path: '/login', component: LoginPage, meta: { open: true } },
    // Where single sign-on comes back to.
    { path: '/auth', component: LoginPage, meta: { open: true } },
    { path: '/', component: () => import('./inside').then((m) => m.OverviewPage) },
    { path: '/servers/new', component: () => import('./pages/ServerWizard.vue') },
    { path: '/images/upload', component: () => import('./pages/ImageUpload.vue') },
    { path: '/events', component: () => import('./pages/AuditPage.vue') },
    { path: '/access', component: () => import('./pages/ExplainerPage.vue') },
    { path: '/profile', component: () => import('./pages/ProfilePage.vue') },
    { path: '/licence', component: () => import('./pages/LicencePage.vue') },
    { path: '/branding', component: () => import('./pages/BrandingPage.vue') },
    { path: `/:plural(${pattern(all.filter((d) => d.plural !== 'events'))})`, component: list, props: true },
    { path: `/:plural(${pattern(all.filter((d) => !d.flat))})/:id/:tab?`, component: detail, props: (to) => ({ plural: to.params.plural, id: to.params.id }) },
    { path: '/:rest(.*)*', component: () => import('./pages/MissingPage.vue') },
  ],
})

router.beforeEach(async (to) => {
  if (to.meta.open) return true
  const back = { path: '/login', query: to.fullPath === '/' ? {} : { to: to.fullPath } }
  if (secondFactor() !== 'none') return back
  if (!session.user) {
    // The page comes while the session is looked at.
    for (const record of to.matched) {
      const page = record.components?.default
      if (typeof page === 'function') void (page as () => Promise<unknown>)().catch(() => undefined)
    }
    try {
      await arrive()
      if (to.path === '/') askAhead(prefs.lang)
    } catch {
      return back
    }
  }
  return session.user?.need_reset_password ? { path: '/login', query: { ...back.query, password: '1' } } : true
})

// The window itself never scrolls; another page begins at its top.
router.afterEach((to, from, failure) => {
  if (!failure && from.matched.length && to.path !== from.path) document.getElementById('main')?.scrollTo(0, 0)
})
