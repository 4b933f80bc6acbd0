import { createApp } from "vue";
import App from "./App.vue";
import { i18n, startLanguage } from "./i18n";
import { router } from "./router";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/controls.css";

await startLanguage();
createApp(App).use(i18n).use(router).mount("#app");
