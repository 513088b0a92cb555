// Every place has an address that can be sent to somebody else.
import { createRouter, createWebHistory, type RouteRecordRaw } from 'vue-router'
import { load, secondFactor, session } from './api/session'
import { resources } from './resources'

const list = () => import('./pages/ListPage.vue')
const detail = () => import('./pages/DetailPage.vue')
const of: RouteRecordRaw[] = Object.values(resources).flatMap((d) => [
  ...(d.plural === 'events' ? [] : [{ path: `/${d.plural}`, component: list, props: { plural: d.plural }, meta: { key: d.plural } }]),
  ...(d.flat ? [] : [{ path: `/${d.plural}/:id/:tab?`, component: detail, props: (to: any) => ({ plural: d.plural, id: to.params.id }), meta: { key: d.plural } }]),
])

export const router = createRouter({
  history: createWebHistory(),
  scrollBehavior: () => ({ top: 0 }),
  routes: [
    { path: '/login', component: () => import('./pages/LoginPage.vue'), meta: { open: true } },
    // Where single sign-on comes back to.
    { path: '/auth', component: () => import('./pages/LoginPage.vue'), meta: { open: true } },
    { path: '/', component: () => import('./pages/OverviewPage.vue') },
    { path: '/servers/new', component: () => import('./pages/ServerWizard.vue') },
    { path: '/images/upload', component: () => import('./pages/ImageUpload.vue') },
    { path: '/events', component: () => import('./pages/AuditPage.vue') },
    { path: '/access', component: () => import('./pages/ExplainerPage.vue') },
    { path: '/profile', component: () => import('./pages/ProfilePage.vue') },
    { path: '/licence', component: () => import('./pages/LicencePage.vue') },
    { path: '/branding', component: () => import('./pages/BrandingPage.vue') },
    ...of,
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
      await load()
    } catch {
      return back
    }
  }
  return session.user?.need_reset_password ? { path: '/login', query: { ...back.query, password: '1' } } : true
})
