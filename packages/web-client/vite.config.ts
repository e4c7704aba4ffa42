import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

// `pnpm --filter @rap/web-client dev` serves the portal from source beside a running demo: RAP_DEV_BACKEND is its URL.
const backend = process.env.RAP_DEV_BACKEND

export default defineConfig({
  plugins: [react()],
  build: {
    target: 'es2022',
    // The RDP client carries its WebAssembly inside, and is loaded when a desktop is opened.
    chunkSizeWarningLimit: 8192,
    // Data URLs would need a wider Content-Security-Policy.
    assetsInlineLimit: 0,
  },
  ...(backend === undefined
    ? {}
    : { server: { proxy: { '/v1': backend, '/.well-known': backend, '/data-plane': { target: backend, ws: true } } } }),
})
