"""For an authoring function of a plugin's own: what ``af.flink`` is made of.

It is advertised under the entry-point group ``aiflow_ext.authoring``, and authors of workflows then call it as
``aiflow_ext.NAME``.

add_node                add a node to the workflow that is being built
called_at               where the author has called the function, for the GraphError that it raises
InputRef, OutputFile    inside a node's properties: the place of an input's value, and a file that the node writes
outputs_of              the keywords of a node's outputs
"""

from aiflow_ext.model.authoring import add_node as add_node
from aiflow_ext.model.authoring import called_at as called_at
from aiflow_ext.model.graph import InputRef as InputRef
from aiflow_ext.model.graph import OutputFile as OutputFile
from aiflow_ext.model.graph import outputs_of as outputs_of
