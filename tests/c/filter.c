/* Decodes a chunk by GDAL's registry of decompressors: `filter PLUGIN CHUNK SIZE OUTPUT OPTION...`, where SIZE is that of what
 * it decodes to. Every way to call a decompressor is tried (cpl_compressor.h). */
#include <dlfcn.h>
#include <cpl_compressor.h>
#include <cpl_conv.h>
#include <cpl_error.h>
#include <cpl_string.h>
#include <cpl_vsi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what)
{
    fprintf(stderr, "filter.c: %s: %s\n", what, CPLGetLastErrorMsg());
    return 1;
}

int main(int count, char **arguments)
{
    if (count < 5)
        return fail("usage: filter PLUGIN CHUNK SIZE OUTPUT OPTION...");
    void *plugin = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    if (plugin == NULL)
        return fail(dlerror());
    void (*install)(void) = (void (*)(void))dlsym(plugin, "GDALRegister_vsitlm");
    install();
    install();
    GByte *chunk = NULL;
    vsi_l_offset chunk_size = 0;
    if (!VSIIngestFile(NULL, arguments[2], &chunk, &chunk_size, -1))
        return fail("no chunk");
    size_t right = strtoul(arguments[3], NULL, 10), size = 0;
    CSLConstList options = (CSLConstList)&arguments[5];

    const CPLCompressor *encoder = CPLGetCompressor("vsitlm.jp2_tile"), *filter = CPLGetDecompressor("vsitlm.jp2_tile");
    if (encoder == NULL || filter == NULL || encoder->eType != CCT_FILTER || filter->eType != CCT_FILTER)
        return fail("no filter");
    CPLPushErrorHandler(CPLQuietErrorHandler);
#define DECODE(output, bytes) filter->pfnFunc(chunk, bytes, output, &size, options, filter->user_data)
    if (!DECODE(NULL, chunk_size) || size != right)
        return fail("the size is not told");

    char *buffer = malloc(right + 8);
    void *output = buffer;
    memset(buffer, 0x5A, right + 8);
    size = right - 1;
    if (DECODE(&output, chunk_size) || size != right || strstr(CPLGetLastErrorMsg(), "vsitlm.jp2_tile") == NULL)
        return fail("a buffer that is too small");
    size = right + 7;
    if (!DECODE(&output, chunk_size) || size != right || output != buffer || buffer[right] != 0x5A)
        return fail("a buffer that is larger");
    void *allocated = NULL;
    if (!DECODE(&allocated, chunk_size) || size != right || memcmp(allocated, buffer, right) != 0)
        return fail("a buffer that is allocated");
    VSIFree(allocated);

    allocated = NULL;
    CPLErrorReset();
    if (DECODE(&allocated, chunk_size / 2) || allocated != NULL || strstr(CPLGetLastErrorMsg(), "T.800") == NULL)
        return fail("a chunk that is cut");
    size = 0;
    if (DECODE(&output, chunk_size) || filter->pfnFunc(chunk, chunk_size, &output, NULL, options, filter->user_data))
        return fail("an output without a size");
    if (filter->pfnFunc(NULL, 0, NULL, &size, options, filter->user_data) || size != 0)
        return fail("no input");
    if (filter->pfnFunc(chunk, chunk_size, NULL, &size, NULL, filter->user_data)
        || strstr(CPLGetLastErrorMsg(), "header") == NULL)
        return fail("no options");
    if (encoder->pfnFunc(chunk, chunk_size, &output, &size, options, encoder->user_data)
        || strstr(CPLGetLastErrorMsg(), "does not encode") == NULL)
        return fail("it encodes");
    CPLPopErrorHandler();

    VSILFILE *file = VSIFOpenL(arguments[4], "wb");
    if (file == NULL || VSIFWriteL(buffer, 1, right, file) != right || VSIFCloseL(file) != 0)
        return fail("nothing is written");
    free(buffer);
    VSIFree(chunk);
    return 0;
}
