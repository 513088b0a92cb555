// The first to run: asks for the words while the application is still on its way.
import './style/tokens.css'
import './style/base.css'
import './style/controls.css'
import './style/layout.css'
import { wordsOf } from './i18n/words'
import { prefs } from './prefs'

void wordsOf(prefs.lang)
void import('./app')
