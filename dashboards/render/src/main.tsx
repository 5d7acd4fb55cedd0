// The page that draws a dashboard without Grafana: from the dashboard's JSON and from what the plugin answered to each of its panels.
// It proves the data and that they can be read; Grafana's own panels are not proved by it.
import 'uplot/dist/uPlot.min.css';
import { DataFrame, createTheme, dateTime } from '@grafana/data';
import { ThemeContext } from '@grafana/ui';
import { createRoot } from 'react-dom/client';

import { Answers, DashboardModel } from './answers';
import { Dashboard, flat } from './dashboard';
import { registerTransformations, shownFrames } from './fields';
import { marksOf } from './marks';
import { measured } from './measure';

declare global {
  interface Window {
    /** Resolves when everything is drawn, with what can be measured of it. */
    drawn: Promise<ReturnType<typeof measured>>;
  }
}

async function draw() {
  const [dashboard, answers] = await Promise.all([read<DashboardModel>('dashboard.json'), read<Answers>('answers.json')]);
  const theme = createTheme({ colors: { mode: 'light' } });
  registerTransformations();
  const [from, to] = [dateTime(answers.from), dateTime(answers.to)];
  const range = { from, to, raw: { from, to } };
  const frames = new Map<number, DataFrame[]>();
  for (const panel of flat(dashboard.panels)) {
    frames.set(panel.id, await shownFrames(panel, answers.panels[panel.id]?.frames ?? [], theme));
  }
  await document.fonts.ready;
  document.body.style.margin = '0';
  createRoot(document.getElementById('root')!).render(
    <ThemeContext.Provider value={theme}>
      <Dashboard
        dashboard={dashboard}
        answers={answers}
        frames={frames}
        marks={marksOf(answers.annotations, theme)}
        range={range}
        width={window.innerWidth}
        theme={theme}
      />
    </ThemeContext.Provider>
  );
  await settled();
  return measured();
}

async function read<T>(name: string): Promise<T> {
  const response = await fetch(name);
  if (!response.ok) {
    throw new Error(`${name}: ${response.status}`);
  }
  return response.json();
}

/** Two frames after React has drawn, the canvases are painted too. */
function settled(): Promise<void> {
  return new Promise((done) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(() => done())), 50));
}

window.drawn = draw();
