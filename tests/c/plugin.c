/* Calls the plugin's C entry points from C: `plugin PLUGIN PATH...`, PATH being files below /vsitlm/.
 *
 * libgdal is linked, the plugin is loaded by GDAL itself where GDAL_DRIVER_PATH names it, else by dlopen. */
#include <dlfcn.h>
#include <gdal.h>
#include <cpl_vsi.h>
#include <stdio.h>
#include <string.h>

#include "../../include/vsitlm.h"

/* A symbol of the plugin, with the type that the header declares. */
#define SYMBOL(plugin, name) ((__typeof__(&name))dlsym(plugin, #name))

static int fail(const char *what)
{
    fprintf(stderr, "plugin.c: %s\n", what);
    return 1;
}

int main(int count, char **arguments)
{
    if (count < 3)
        return fail("usage: plugin PLUGIN PATH...");
    GDALAllRegister();
    void *plugin = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    if (plugin == NULL)
        return fail(dlerror());

    void (*by_name)(void) = SYMBOL(plugin, GDALRegister_vsitlm);
    void (*by_default)(void) = SYMBOL(plugin, GDALRegisterMe);
    const char *(*version)(void) = SYMBOL(plugin, vsitlm_version);
    uint64_t (*read_errors)(void) = SYMBOL(plugin, vsitlm_read_errors);
    size_t (*last_error)(char *, size_t) = SYMBOL(plugin, vsitlm_last_error);
    if (!by_name || !by_default || !version || !read_errors || !last_error)
        return fail("a function of vsitlm.h is missing");

    by_name();
    by_default();
    by_name();
    if (strlen(version()) < 5)
        return fail("vsitlm_version gives no version");
    for (int number = 2; number < count; number++) {
        VSIStatBufL stat;
        if (VSIStatL(arguments[number], &stat) != 0)
            return fail("a file has no stat");
        GDALDatasetH dataset = GDALOpen(arguments[number], GA_ReadOnly);
        if (dataset == NULL)
            return fail("a file does not open");
        printf("%d %d %lld\n", GDALGetRasterXSize(dataset), GDALGetRasterYSize(dataset), (long long)stat.st_size);
        GDALClose(dataset);
    }

    char buffer[8] = "unset";
    if (read_errors() != 0 || last_error(NULL, 0) != 0 || last_error(buffer, sizeof buffer) != 0 || buffer[0] != '\0')
        return fail("errors without an error");
    return 0;
}
