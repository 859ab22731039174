/** The page's pictures, drawn in the text's own colour. They never carry meaning alone. */

import type { ComponentChildren, JSX } from "preact";

function Icon({ children, filled = false }: { children: ComponentChildren; filled?: boolean }): JSX.Element {
  return (
    <svg
      class="icon"
      viewBox="0 0 24 24"
      width="20"
      height="20"
      fill={filled ? "currentColor" : "none"}
      stroke="currentColor"
      stroke-width="1.8"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
      focusable="false"
    >
      {children}
    </svg>
  );
}

export const SendIcon = (): JSX.Element => (
  <Icon>
    <path d="M12 19V5M6 11l6-6 6 6" />
  </Icon>
);

export const StopIcon = (): JSX.Element => (
  <Icon filled>
    <rect x="7" y="7" width="10" height="10" rx="1.5" />
  </Icon>
);

export const PlusIcon = (): JSX.Element => (
  <Icon>
    <path d="M4 12.2C4 8 7.6 5 12 5s8 3 8 7.2-3.6 7.2-8 7.2c-.9 0-1.8-.1-2.6-.4L5 20.2l1-3.2a6.7 6.7 0 0 1-2-4.8Z" />
    <path d="M12 9.4v5.6M9.2 12.2h5.6" />
  </Icon>
);

export const SunIcon = (): JSX.Element => (
  <Icon>
    <circle cx="12" cy="12" r="4" />
    <path d="M12 3v1.5M12 19.5V21M3 12h1.5M19.5 12H21M5.6 5.6l1.1 1.1M17.3 17.3l1.1 1.1M5.6 18.4l1.1-1.1M17.3 6.7l1.1-1.1" />
  </Icon>
);

export const MoonIcon = (): JSX.Element => (
  <Icon>
    <path d="M20 14.5A8.2 8.2 0 0 1 9.5 4a8.2 8.2 0 1 0 10.5 10.5Z" />
  </Icon>
);

export const AutoIcon = (): JSX.Element => (
  <Icon>
    <circle cx="12" cy="12" r="8" />
    <path d="M12 4a8 8 0 0 1 0 16Z" fill="currentColor" />
  </Icon>
);

export const PersonIcon = (): JSX.Element => (
  <Icon>
    <path d="M5 13v-1.5a7 7 0 0 1 14 0V13" />
    <path d="M5 13.5a1.5 1.5 0 0 1 3 0v2.5a1.5 1.5 0 0 1-3 0ZM16 13.5a1.5 1.5 0 0 1 3 0v2.5a1.5 1.5 0 0 1-3 0Z" />
    <path d="M18.5 17.5c-.5 1.8-2 2.5-4.5 2.5" />
  </Icon>
);

export const ThumbUpIcon = (): JSX.Element => (
  <Icon>
    <path d="M7.5 10.5v9h-3v-9ZM7.5 10.5 11.5 4c1.5 0 2.3 1 2 2.5L13 9.5h5a1.8 1.8 0 0 1 1.8 2.2l-1.3 6a2.3 2.3 0 0 1-2.2 1.8H7.5" />
  </Icon>
);

export const ThumbDownIcon = (): JSX.Element => (
  <Icon>
    <path d="M7.5 13.5v-9h-3v9ZM7.5 13.5 11.5 20c1.5 0 2.3-1 2-2.5L13 14.5h5a1.8 1.8 0 0 0 1.8-2.2l-1.3-6a2.3 2.3 0 0 0-2.2-1.8H7.5" />
  </Icon>
);

export const ClockIcon = (): JSX.Element => (
  <Icon>
    <circle cx="12" cy="12" r="8" />
    <path d="M12 7.5V12l3 2" />
  </Icon>
);

export const DownIcon = (): JSX.Element => (
  <Icon>
    <path d="M12 5v14M6 13l6 6 6-6" />
  </Icon>
);

export const CloseIcon = (): JSX.Element => (
  <Icon>
    <path d="M6 6l12 12M18 6 6 18" />
  </Icon>
);

export const AlertIcon = (): JSX.Element => (
  <Icon>
    <circle cx="12" cy="12" r="8.5" />
    <path d="M12 7.5v5.5M12 16.2v.1" />
  </Icon>
);

export const ChevronIcon = (): JSX.Element => (
  <Icon>
    <path d="M9 6l6 6-6 6" />
  </Icon>
);

export const Logo = (): JSX.Element => (
  <svg class="logo" viewBox="0 0 32 32" width="32" height="32" aria-hidden="true" focusable="false">
    <rect class="logo-back" width="32" height="32" rx="9" />
    <path
      class="logo-front"
      d="M9 10.5h14a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2h-6.2L12 25.2v-3.7H9a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2Z"
    />
    <path class="logo-lines" d="M11.5 14.6h9M11.5 17.8h5.5" />
  </svg>
);
