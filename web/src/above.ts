// What opens above a page, with the library that places it: one file, which comes when the first of it is wanted or when there is time.
export { default as ActionDialog } from './parts/ActionDialog.vue'
export { default as CommandPalette } from './parts/CommandPalette.vue'
export { default as Dialog } from './ui/Dialog.vue'
export { default as Floating } from './ui/Floating.vue'
export { default as Form } from './ui/Form.vue'
export { default as Pick } from './ui/Pick.vue'
