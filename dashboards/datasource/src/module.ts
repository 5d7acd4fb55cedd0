import { DataSourcePlugin } from '@grafana/data';

import { ConfigEditor } from './components/ConfigEditor';
import { QueryEditor } from './components/QueryEditor';
import { QueryEditorHelp } from './components/QueryEditorHelp';
import { WattledgerDataSource } from './datasource';
import { Secrets, Settings } from './settings';
import { WattledgerQuery } from './types';

export const plugin = new DataSourcePlugin<WattledgerDataSource, WattledgerQuery, Settings, Secrets>(WattledgerDataSource)
  .setConfigEditor(ConfigEditor)
  .setQueryEditor(QueryEditor)
  .setQueryEditorHelp(QueryEditorHelp);
