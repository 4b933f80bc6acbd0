/** Which screen stands at which path. The gateway serves the console at these first segments: gateway/console.py. */
import { nextTick } from "vue";
import { createRouter, createWebHistory } from "vue-router";
import { i18n } from "./i18n";
import { isSignedIn, isSignUpOpen, meet, wanted, whenSignedOut } from "./session";
import { tellRefusal } from "./toasts";

export const router = createRouter({
  history: createWebHistory(),
  scrollBehavior: (to, from, saved) => saved ?? (to.path === from.path ? false : { top: 0 }),
  routes: [
    { path: "/", redirect: "/projects" },
    { path: "/sign-in", component: () => import("./screens/sign-in/SignIn.vue"), meta: { isOpen: true } },
    { path: "/sign-up", component: () => import("./screens/sign-in/SignUp.vue"), meta: { isOpen: true } },
    { path: "/my-keys", component: () => import("./screens/my-keys/MyKeys.vue") },
    { path: "/account", component: () => import("./screens/account/Account.vue") },
    { path: "/projects", component: () => import("./screens/projects/Projects.vue"), meta: { isOpen: true } },
    {
      path: "/projects/:projectId",
      component: () => import("./screens/Project.vue"),
      props: true,
      children: [
        {
          path: "",
          name: "about",
          props: true,
          component: () => import("./screens/about-project/AboutProject.vue"),
          meta: { isOpen: true },
        },
        { path: "keys", name: "keys", props: true, component: () => import("./screens/api-keys/ApiKeys.vue") },
        { path: "issued", name: "issued", props: true, component: () => import("./screens/issued-keys/IssuedKeys.vue") },
        { path: "roles", name: "roles", props: true, component: () => import("./screens/roles/Roles.vue") },
        { path: "members", name: "members", props: true, component: () => import("./screens/members/Members.vue") },
        { path: "settings", name: "settings", props: true, component: () => import("./screens/settings/Settings.vue") },
        { path: "audit", name: "audit", props: true, component: () => import("./screens/audit-log/AuditLog.vue") },
        { path: "secrets", name: "secrets", props: true, component: () => import("./screens/secrets/Secrets.vue") },
      ],
    },
    { path: "/:nowhere(.*)*", component: () => import("./screens/Nowhere.vue"), meta: { isOpen: true } },
  ],
});

router.beforeEach(async (to) => {
  await meet();
  if (!to.meta.isOpen && !isSignedIn.value) return { path: "/sign-in", query: { next: to.fullPath } };
  if (/^\/sign-(in|up)$/.test(to.path) && isSignedIn.value) return wanted(to);
  if (to.path === "/sign-up" && !isSignUpOpen.value) return { path: "/sign-in", query: to.query };
});

/** A screen that isn't there: the gateway is out of reach, or was updated since, and a fresh page knows its new screens. */
router.onError(async (_, to, from) => {
  const isThere = await fetch("/healthz").then(
    ({ ok }) => ok,
    () => false,
  );
  const isFresh = from.matched.length === 0;
  if (isThere && !isFresh) location.assign(to.fullPath);
  else tellRefusal(i18n.global.t("refused.unreachable"));
});

router.afterEach(async (to, from) => {
  if (from.matched.length === 0 || to.path === from.path) return;
  await nextTick();
  document.querySelector<HTMLElement>("main")?.focus({ preventScroll: true }); // so that a screen reader begins there
});

whenSignedOut(() => router.push({ path: "/sign-in", query: { next: router.currentRoute.value.fullPath } }));

declare module "vue-router" {
  interface RouteMeta {
    /** Whether who isn't signed in may see it. */
    isOpen?: boolean;
  }
}
