import '@mantine/core/styles.css'
import '@mantine/notifications/styles.css'
import { createTheme, MantineProvider } from '@mantine/core'
import { Notifications } from '@mantine/notifications'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { AuthProvider } from './auth/auth.tsx'
import { Portal } from './portal.tsx'

const theme = createTheme({ primaryColor: 'blue', defaultRadius: 'md', cursorType: 'pointer' })

const root = document.getElementById('root')
if (root === null) throw new TypeError('index.html has a root element')
createRoot(root).render(
  <StrictMode>
    <MantineProvider theme={theme} defaultColorScheme="auto">
      <Notifications position="bottom-right" />
      <AuthProvider>
        <Portal />
      </AuthProvider>
    </MantineProvider>
  </StrictMode>,
)
