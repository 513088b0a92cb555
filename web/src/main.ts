// The first to run, before any library has come: asks for the application, the words, and for who is logged in, all at once.
import './style/tokens.css'
import './style/base.css'
import './style/controls.css'
import './style/layout.css'
import { ahead } from './api/ahead'
import { spoken, wordsOf } from './i18n/words'

ahead('/v1/branding', spoken)
if (document.cookie.includes('yunionauth=') && !location.pathname.startsWith('/login')) ahead('/v1/auth/user', spoken)
if (/^\/(login|auth)\b/.test(location.pathname)) ahead('/v1/auth/regions', spoken)
void wordsOf(spoken)
void import('./app')
