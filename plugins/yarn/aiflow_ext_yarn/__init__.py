"""Platform ``yarn``: a job is an application on Hadoop YARN, by plain HTTP from the client.

The client uses the ResourceManager's REST API, WebHDFS and the log endpoints; in the application's one container the
application master (``master``) runs the job as its child. Neither needs Java, or a Hadoop installation of its own.
"""
